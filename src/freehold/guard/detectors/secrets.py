"""What opens something: keys of vendors by their shape, private keys, tokens, connection strings, and secrets by
assignment.

A vendor's key is known by a prefix that nothing else has; where a shape is too plain to stand alone, the vendor's name
must stand before it. A long token is found by its beginning, the rest is its tail.
"""

from freehold.guard.checks import entropy, is_jwt, is_own_secret, is_password, is_random, is_stand_in
from freehold.guard.detector import Detector

_TOKEN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.=+/")
_KEY_BODY = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n\\-")

_SHAPES: dict[str, tuple[str, ...]] = {
    "aws_access_key": (r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",),
    "anthropic_key": (r"\bsk-ant-(?:api|admin|oat)\d{2}-[\w\-]{24}",),
    "openai_key": (r"\bsk-(?:proj|svcacct|admin)-[\w\-]{24}", r"\bsk-[A-Za-z0-9]{32}"),
    "openrouter_key": (r"\bsk-or-v1-[a-f0-9]{40}",),
    "github_token": (r"\bgh[pousr]_[A-Za-z0-9]{36}", r"\bgithub_pat_\w{50}"),
    "gitlab_token": (
        r"\bgl(?:pat|dt|ptt|rt|cbt|soat|ft|agent|oas|imt|ffct)-[\w\-]{20}",
        r"\bGR1348941[\w\-]{20}",
    ),
    "slack_token": (r"\bxox[abeoprs]-[A-Za-z0-9\-]{20}", r"\bxapp-\d-[A-Z0-9]{8,14}-\d{8,15}-[a-z0-9]{20}"),
    "slack_webhook": (r"\bhooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{30,80}\b",),
    "discord_webhook": (r"\bdiscord(?:app)?\.com/api/webhooks/\d{17,20}/[\w\-]{60}",),
    "discord_token": (r"\b[MNO][A-Za-z0-9]{23,25}\.[\w\-]{6}\.[\w\-]{27,38}\b",),
    "stripe_key": (r"\b(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16}", r"\bwhsec_[A-Za-z0-9]{24}"),
    "google_key": (r"\bAIza[\w\-]{35}", r"\bGOCSPX-[\w\-]{28}", r"\bya29\.[\w\-]{30}"),
    "sendgrid_key": (r"\bSG\.[\w\-]{20,24}\.[\w\-]{39,50}\b",),
    "mailgun_key": (r"\bkey-[a-f0-9]{32}\b",),
    "mailchimp_key": (r"\b[a-f0-9]{32}-us\d{1,2}\b",),
    "brevo_key": (r"\bxkeysib-[a-f0-9]{64}",),
    "twilio_key": (r"\bSK[a-f0-9]{32}\b", r"\bAC[a-f0-9]{32}\b"),
    "telegram_token": (r"\b\d{8,10}:AA[\w\-]{32,33}\b",),
    "npm_token": (r"\bnpm_[A-Za-z0-9]{36}",),
    "pypi_token": (r"\bpypi-AgEIcHlwaS5vcmc[\w\-]{40}", r"\bpypi-AgENdGVzdC5weXBp[\w\-]{20}"),
    "rubygems_key": (r"\brubygems_[a-f0-9]{48}\b",),
    "crates_token": (r"\bcio[A-Za-z0-9]{32}\b",),
    "docker_token": (r"\bdckr_(?:pat|oat)_[\w\-]{27}",),
    "huggingface_token": (r"\b(?:hf|api_org)_[A-Za-z]{34}\b",),
    "groq_key": (r"\bgsk_[A-Za-z0-9]{52}\b",),
    "xai_key": (r"\bxai-[A-Za-z0-9]{80}\b",),
    "perplexity_key": (r"\bpplx-[A-Za-z0-9]{48}\b",),
    "replicate_token": (r"\br8_[A-Za-z0-9]{37}\b",),
    "digitalocean_token": (r"\bdo[opr]_v1_[a-f0-9]{64}\b",),
    "shopify_token": (r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",),
    "square_token": (r"\bsq0(?:atp|csp|idp)-[\w\-]{22}", r"\bEAAA[\w\-]{60}\b"),
    "databricks_token": (r"\bdapi[a-f0-9]{32}(?:-\d)?\b",),
    "doppler_token": (r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9\-_.]{40,80}\b",),
    "hashicorp_token": (
        r"\bhv[bsr]\.[\w\-]{24}",
        r"\.atlasv1\.[\w\-=]{60}",
    ),
    "grafana_token": (r"\bglsa_[A-Za-z0-9]{32}_[a-f0-9]{8}\b", r"\bglc_[A-Za-z0-9+/]{32}"),
    "sentry_token": (r"\bsntry[su]_[A-Za-z0-9+/=_]{60}",),
    "newrelic_key": (r"\bNRAK-[A-Z0-9]{27}\b", r"\bNRJS-[a-f0-9]{19}\b"),
    "linear_key": (r"\blin_(?:api|oauth)_[A-Za-z0-9]{40}",),
    "notion_token": (r"\bntn_[A-Za-z0-9]{40}", r"\bsecret_[A-Za-z0-9]{43}\b"),
    "airtable_token": (r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b",),
    "postman_key": (r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}\b",),
    "atlassian_token": (r"\bAT(?:ATT3|CTT3|BB)[A-Za-z0-9_\-=]{28}",),
    "dropbox_token": (r"\bsl\.[A-Za-z0-9\-_]{100}",),
    "facebook_token": (r"\bEAA[A-Z][A-Za-z0-9]{80}",),
    "azure_secret": (r"\dQ~[A-Za-z0-9_~.\-]{31,34}\b",),
    "azure_storage_key": (r"\bAccountKey=[A-Za-z0-9+/]{86}==",),
    "planetscale_token": (r"\bpscale_(?:tkn|oauth|pw)_[\w=.\-]{32}",),
    "supabase_key": (r"\bsb(?:p|_secret)_[A-Za-z0-9_]{31,40}\b",),
    "pulumi_token": (r"\bpul-[a-f0-9]{40}\b",),
    "flyio_token": (r"\bfo1_[\w\-]{43}\b", r"\bfm2_[A-Za-z0-9+/]{60}"),
    "vercel_token": (r"\bvc[piakr]_[A-Za-z0-9]{24}",),
    "figma_token": (r"\bfig[dor]_[\w\-]{38}",),
    "onepassword_token": (r"\bops_eyJ[A-Za-z0-9+/]{100}", r"\bA3-[A-Z0-9]{6}-[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{5}"),
    "age_key": (r"\bAGE-SECRET-KEY-1[A-Z0-9]{58}\b",),
    "artifactory_key": (r"\bAKCp[A-Za-z0-9]{69}\b", r"\bcmVmd[A-Za-z0-9]{59}\b"),
    "easypost_key": (r"\bEZ[AT]K[A-Za-z0-9]{54}\b",),
    "dynatrace_token": (r"\bdt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}\b",),
    "tailscale_key": (r"\btskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{8,20}-[A-Za-z0-9]{24}",),
    "wireguard_key": (r"\bPrivateKey\s{0,3}=\s{0,3}[A-Za-z0-9+/]{43}=",),
    "langsmith_key": (r"\blsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}\b",),
    "nvidia_key": (r"\bnvapi-[\w\-]{60}",),
    "cloudflare_key": (r"\bv1\.0-[a-f0-9]{24}-[a-f0-9]{100}",),
    "telnyx_mapbox_key": (r"\bsk\.eyJ1[A-Za-z0-9]{40}",),
    "contentful_token": (r"\bCFPAT-[\w\-]{43}\b",),
    "duffel_frame_token": (r"\bduffel_(?:test|live)_[\w\-=]{43}\b", r"\bfio-u-[\w\-=]{64}\b"),
    "readme_render_key": (r"\brdme_[a-z0-9]{70}\b", r"\brnd_[A-Za-z0-9]{32}\b"),
}

_NAMED = r"[\w.\-]{0,12}[\"']?\s{0,3}(?:=>|:=|[:=])\s{0,3}[\"'`]?"
_NAMES_OF_SECRETS = (
    r"(?:passw(?:or)?d|passwort|passphrase|pwd|secret|token|credential|api[_\- ]?key|access[_\- ]?key|auth[_\- ]?key"
    r"|private[_\- ]?key|signing[_\- ]?key|encryption[_\- ]?key|client[_\- ]?secret|account[_\- ]?key)"
)
_VALUE = r"[!#-&(-+\--:<-_a-~]"
_VALUE_ENDS = r"[\s\"'`;,]"

DETECTORS: tuple[Detector, ...] = (
    Detector("freehold_secret", "SECRET", (r"\bfh[scp]?_[\w\-]{49}\b",), 1.0, check=is_own_secret),
    *(
        Detector(name, "SECRET", patterns, 0.98, check=lambda text: not is_stand_in(text), tail=_TOKEN)
        for name, patterns in _SHAPES.items()
    ),
    Detector("jwt", "SECRET", (r"\beyJ[A-Za-z0-9_\-]{24,80}",), 0.97, check=is_jwt, tail=_TOKEN),
    Detector(
        "private_key",
        "SECRET",
        (r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----", r"\bPuTTY-User-Key-File-\d:"),
        1.0,
        tail=_KEY_BODY,
    ),
    Detector(
        "private_key_end", "SECRET", (r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----",), 1.0, ends_tail=True
    ),
    Detector(
        "url_credentials",
        "SECRET",
        (r"://[^\s:/@\"'<>]{0,40}:[^\s@/\"'<>]{3,80}@[A-Za-z0-9\[]",),
        0.96,
        inner=r"://[^\s:/@]*:(?P<v>[^\s@/]{3,80})@",
        check=lambda text: not is_stand_in(text) and text.lower() not in ("password", "pass", "user", "port"),
    ),
    Detector(
        "aws_secret_key",
        "SECRET",
        (r"[:=\"']\s{0,3}[\"'`]?[A-Za-z0-9+/]{40}\b",),
        0.9,
        inner=r"(?P<v>[A-Za-z0-9+/]{40})\b",
        check=is_random(4.0),
        near=("aws", "secret access key", "secretaccesskey", "secret key", "amazon"),
    ),
    Detector(
        "authorization",
        "SECRET",
        (r"\b(?:Bearer|Basic)\s[A-Za-z0-9_\-.=+/~]{16,40}",),
        0.9,
        inner=r"(?i)(?:bearer|basic)\s(?P<v>\S{16,40})",
        caseless=True,
        check=lambda text: entropy(text) > 3 and not is_stand_in(text) and any(c.isdigit() for c in text),
        tail=_TOKEN,
    ),
    Detector(
        "assigned_secret",
        "SECRET",
        (f"{_NAMES_OF_SECRETS}{_NAMED}{_VALUE}{{6,100}}{_VALUE_ENDS}", f"{_NAMES_OF_SECRETS}{_NAMED}{_VALUE}{{100}}"),
        0.85,
        caseless=True,
        inner=rf"(?i){_NAMES_OF_SECRETS}{_NAMED}(?P<v>[^\s\"'`;,]{{6,100}})",
        check=is_password,
        tail=_TOKEN,
    ),
    Detector(
        "spoken_password",
        "SECRET",
        (
            (
                r"\b(?:password|passphrase|passcode|kennwort|passwort|mot de passe|contrase.a|pin)"
                r"\s(?:is|ist|est|es)\s{1,2}[!-~]{4,64}\s"
            ),
        ),
        0.8,
        caseless=True,
        inner=r"(?i)\s(?:is|ist|est|es)\s{1,2}[\"'`]?(?P<v>[^\s\"'`,;]{4,64})",
        check=lambda text: is_password(text.rstrip(".!?")) or (text.rstrip(".").isdigit() and len(text) < 9),
    ),
)
