"""KOGEMMA_* environment variables -> defaults of the command line; nothing else reads them."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What the command line uses where no option is given.

    `KOGEMMA_CHAT_MODEL=nlpai-lab/ko-gemma-2b-v1` sets `chat_model`, and so on; an empty variable
    counts as unset.

    Raises:
        pydantic.ValidationError: If a variable holds a value that its field does not take.
    """

    model_config = SettingsConfigDict(env_prefix="KOGEMMA_", env_ignore_empty=True, frozen=True)

    chat_model: str = "extractive"
    embeddings: str | None = None
    """None: the embedded one for a new index, else the one that the index records."""
    api_key: SecretStr | None = None
    """Key of the model server; the hub goes by HF_TOKEN."""
    k: int = Field(default=4, ge=1, le=100)
    """Passages to search for and to answer from."""
    debug: bool = False
    """Show errors with their traceback."""
