"""A chat model's name in, the chat model out; what it takes is loaded for the one that is named."""

from typing import Any

from langchain_core.language_models import BaseChatModel


def load_chat_model(name: str, **options: Any) -> BaseChatModel:
    """Give the chat model of a name.

    Args:
        name: "extractive" for `ExtractiveChatModel`, else for `ChatKoGemma` a hub name, a
            directory, or the address of a server (then `model` says which of its models; by
            default its only one).
        **options: The model's own options.

    Raises:
        TypeError: If the model does not know an option.
        FileNotFoundError: If `name` is a path and no directory is there.
        ModelConnectionError: If `name` is an address and no server answers there.
    """
    if name == "extractive":
        from kogemma_rag.extractive import ExtractiveChatModel

        return ExtractiveChatModel(**options)
    from kogemma_rag.chat_models import ChatKoGemma

    if "://" not in name:
        return ChatKoGemma(name, **options)
    model = options.pop("model", None)
    if not model:
        names: list[str] = ChatKoGemma(base_url=name, **options).info()["models"]
        if len(names) != 1:
            raise ValueError(
                f"the server at {name} has the models {names}; say which one by model="
            )
        model = names[0]
    return ChatKoGemma(model, base_url=name, **options)
