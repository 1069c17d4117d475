"""Which of a Gemma's tokens are control, and text that can become none of these."""

import re

# Of Gemma's added tokens, runs of white space and HTML tags are text, all others control.
_CONTROL_TOKEN = re.compile(
    r"(?!</?(table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|[bius]|su[bp]"
    r"|code)>)[<\[].*"
)
# Those of the released tokenizers. No two can overlap, so breaking each that stands in a text
# breaks them all.
_CONTROL_STRING = re.compile(
    r"<(?=(?:bos|eos|pad|unk|mask|2mass|(?:start|end)_of_turn|unused[0-9]+)>)|\[(?=@BOS@\])"
)
# The zero width space: Gemma's tokenizer does not drop it, no template trims it, and models have
# met it in the web's text, so that they read past it.
_BREAK = "\u200b"


def is_control_token(content: str) -> bool:
    """Whether an added token of this content is control, and so never part of a text."""
    return _CONTROL_TOKEN.fullmatch(content) is not None


def break_control_strings(text: str) -> str:
    """Put a zero width space into the text of each control token, so that none becomes the token.

    For text that is made into tokens elsewhere, by a server: it would take such a string in a
    message, a retrieved document's say, for the end of the turn. All other text stays as it is.
    """
    return _CONTROL_STRING.sub(rf"\g<0>{_BREAK}", text)
