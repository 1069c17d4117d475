"""The harness's requests in, log-likelihoods out, by a model that reads exactly one <bos> in each.

Imports the harness and torch; import it where it is used.
"""

import copy
from collections import Counter
from functools import partial
from typing import Any, Literal

from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from kogemma_rag.evaluation.errors import KoBESTModelError
from kogemma_rag.weights import DType, load_weights

ChatTemplateChoice = Literal["auto", "on", "off"]

# How the harness has a request: context and continuation, as texts and as ids.
_Request = tuple[tuple[str, str], list[int], list[int]]

_SHOWN = 60  # characters of a request in an error


class OneBosModel(HFLM):  # type: ignore[misc]
    """The harness's model of transformers, which refuses requests without exactly one <bos>.

    The window is never overrun either: cutting a request from the left would take its <bos> away.

    Attributes:
        requests: How many were computed since `forget_requests`; so are all counts.
        bos_counts: How many requests had so many <bos>.
        tokens: How many all requests have.
        longest: How many the longest has.

    Args:
        model: A causal language model.
        tokenizer: Its own.
        name: What errors call the model.
        batch_size: Requests at a time; "auto" looks for the most that a GPU holds, and is 1
            elsewhere, where too many would not end in an error but with the process.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        batch_size: int | Literal["auto"],
    ) -> None:
        if tokenizer.bos_token_id is None:
            raise KoBESTModelError(
                f"the tokenizer of {name} has no <bos>, which every request must have once; give "
                "a model of the Gemma family"
            )
        if batch_size == "auto" and model.device.type != "cuda":
            batch_size = 1
        # The harness sets this only on tokenizers that it loads itself.
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.add_bos_token = True
        super().__init__(
            pretrained=model, tokenizer=tokenizer, add_bos_token=True, batch_size=batch_size
        )
        self.name = name
        self.forget_requests()

    def forget_requests(self) -> None:
        """Count requests anew."""
        self.requests = 0
        self.bos_counts: Counter[int] = Counter()
        self.tokens = 0
        self.longest = 0

    def uses_template(self, choice: ChatTemplateChoice) -> bool:
        """Whether prompts go through the chat template; "auto" is "on" where there is one.

        Raises:
            KoBESTModelError: If it is "on" and there is no template.
        """
        there = bool(self.tokenizer.chat_template)
        if choice == "on" and not there:
            raise KoBESTModelError(
                f"{self.name} has no chat template; give chat_template='off', or an "
                "instruction-tuned model"
            )
        return there and choice != "off"

    def _loglikelihood_tokens(
        self, requests: list[_Request], *args: Any, **options: Any
    ) -> list[tuple[float, bool]]:
        self._check_lengths(requests)
        self._check_bos(requests)
        found: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, *args, **options)
        return found

    def _check_lengths(self, requests: list[_Request]) -> None:
        lengths = [len(context) + len(continuation) for _, context, continuation in requests]
        # The last token is only predicted, never read.
        too_long = sum(length > self.max_length + 1 for length in lengths)
        self.longest = max(self.longest, *lengths)
        self.tokens += sum(lengths)
        if too_long:
            raise KoBESTModelError(
                f"{too_long} of {len(requests)} requests are longer than the {self.max_length} "
                f"tokens that {self.name} can read (the longest has {max(lengths)}) and would lose "
                "their <bos>; give a smaller num_fewshot"
            )

    def _check_bos(self, requests: list[_Request]) -> None:
        bos = self.tokenizer.bos_token_id
        for texts, context, continuation in requests:
            count = (context + continuation).count(bos)
            self.bos_counts[count] += 1
            if count != 1 or context[0] != bos:
                raise KoBESTModelError(
                    f"a request to {self.name} has {count} <bos> instead of one at its start: "
                    f"{''.join(texts)[:_SHOWN]!r}; see that the tokenizer adds it, that the chat "
                    "template writes it only once, and that no text of the data holds it"
                )
        self.requests += len(requests)


def load_model(
    model: str, *, device: str | None, dtype: DType
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load weights and tokenizer from a directory, the hub's cache or the hub.

    Raises:
        ModelNotFoundError, ModelPermissionDeniedError, ModelConnectionError: As `load_checkpoint`.
        ValueError, FileNotFoundError: As `check_name` and `load_weights`.
    """
    from kogemma_rag.checkpoints import check_name, load_checkpoint

    check_name(model)
    tokenizer = load_checkpoint(model, AutoTokenizer.from_pretrained, token=None)
    load = partial(load_weights, device=device or "auto", dtype=dtype)
    return load_checkpoint(model, load, token=None), tokenizer
