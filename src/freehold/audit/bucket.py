"""A copy's place in an S3-compatible bucket: two requests, signed with AWS Signature Version 4.

Small on purpose: path-style addresses, whole objects, no multipart, the standard library's client. Make the bucket one
that keeps versions or locks objects, and the key one that may put and get but not delete: then who owns this machine
cannot take the copy back.
"""

import hashlib
import hmac
import http.client
import ssl
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

_TIMEOUT = 10.0
_LARGEST = 32 << 20


class BucketStore:
    """`endpoint` is `https://HOST[:PORT]` (`http://` for one on this machine); `prefix` may be empty."""

    def __init__(self, endpoint: str, region: str, bucket: str, prefix: str, access: str, secret: str) -> None:
        self._url = urlsplit(endpoint)
        self._region = region
        self._base = "/" + "/".join(part for part in (bucket, prefix.strip("/")) if part)
        self._access = access
        self._secret = secret

    def get(self, name: str) -> bytes | None:
        """See Store."""
        status, body = self._ask("GET", name, b"")
        if status == 404:
            return None
        if status != 200:
            raise OSError(f"the bucket answered {status}")
        return body

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        status, _ = self._ask("PUT", name, data)
        if status != 200:
            raise OSError(f"the bucket answered {status}")

    def drop(self, name: str) -> None:
        """See Store. A bucket's key cannot remove; a lifecycle rule of the bucket may, for names with `.p/` in them."""

    def _ask(self, method: str, name: str, body: bytes) -> tuple[int, bytes]:
        path = quote(f"{self._base}/{name}", safe="/-_.~")
        headers = sign(
            method, self._url.netloc, path, body, self._region, self._access, self._secret, datetime.now(UTC)
        )
        connection = self._connection()
        try:
            connection.request(method, path, body=body if method == "PUT" else None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_LARGEST)
        except http.client.HTTPException:
            raise OSError("the bucket's answer is not HTTP") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._url.scheme == "http":
            return http.client.HTTPConnection(self._url.netloc, timeout=_TIMEOUT)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self._url.netloc, timeout=_TIMEOUT, context=context)


def sign(
    method: str, host: str, path: str, body: bytes, region: str, access: str, secret: str, now: datetime
) -> dict[str, str]:
    """The headers of a signed request without a query (AWS Signature Version 4, service `s3`)."""
    digest = hashlib.sha256(body).hexdigest()
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = (
        f"{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n\n{signed}\n{digest}"
    )
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {
        "Host": host,
        "x-amz-date": stamp,
        "x-amz-content-sha256": digest,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={signed}, Signature={signature}",
    }
