"""What is wrong with the data or the model of an evaluation, and where."""


class EvaluationDataError(ValueError):
    """Data that cannot be evaluated on: which file, which line or place in it, what to do.

    The message is Korean: who reads it has to mend the file.
    """


class KoBESTModelError(ValueError):
    """A model that cannot be evaluated as asked: which one, why, and what to do."""
