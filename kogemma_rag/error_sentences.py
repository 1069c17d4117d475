"""An error of the library in, a Korean sentence out that says what failed and what to do next."""

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from kogemma_rag.document_loaders.errors import DocumentLoadError
from kogemma_rag.evaluation.errors import EvaluationDataError, KoBESTModelError
from kogemma_rag.evaluation.retriever_settings import RetrieverSettingsError
from kogemma_rag.evaluation.runs import RunError
from kogemma_rag.storage_errors import (
    EmbedderMismatchError,
    StorageDamagedError,
    StorageError,
    StorageFullError,
    StorageLockedError,
    StorageReadOnlyError,
)
from kogemma_rag.transfer import TransferError

# The first type that fits counts, so a subclass stands before its bases.
_SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (ModelNotFoundError, "모델을 찾지 못했습니다. 모델의 이름이나 폴더를 확인하세요."),
    (
        ModelConnectionError,
        "모델에 연결하지 못했습니다. 인터넷 연결이나 서버의 주소를 확인하거나, 모델이 있는 폴더를 "
        "적으세요.",
    ),
    (ModelAuthenticationError, "모델 서버가 다른 키를 바랍니다. KOGEMMA_API_KEY를 설정하세요."),
    (ModelRateLimitError, "모델이 바쁩니다. 잠시 뒤에 다시 하세요."),
    (ModelTimeoutError, "모델이 제때 답하지 않았습니다. 잠시 뒤에 다시 하세요."),
    (ModelInvalidRequestError, "모델 서버가 요청을 받아들이지 않았습니다. 원인을 확인하세요."),
    (ModelAPIError, "모델 서버에 오류가 났습니다. 서버의 기록을 확인하세요."),
    (
        ModelPermissionDeniedError,
        "모델을 쓸 권한이 없습니다. 허브의 허가와 HF_TOKEN, 또는 서버의 키(KOGEMMA_API_KEY)를 "
        "확인하세요.",
    ),
    (
        ContextOverflowError,
        "모델이 한 번에 읽을 수 있는 길이를 넘었습니다. 질문을 줄이거나 -k를 줄이세요.",
    ),
    (
        EmbedderMismatchError,
        "이 색인은 다른 임베딩 모델로 만들었습니다. --embeddings를 빼거나 새 폴더에 색인하세요.",
    ),
    (
        StorageLockedError,
        "다른 프로그램이 이 색인을 쓰고 있습니다. 그것이 끝난 뒤에 다시 하세요.",
    ),
    (
        StorageReadOnlyError,
        "이 색인은 읽기만 할 수 있습니다. 색인 폴더에 쓸 권한을 얻거나 다른 곳에 복사하세요.",
    ),
    (
        StorageFullError,
        "디스크에 자리가 없어 이번 변경을 반영하지 않았습니다. 자리를 비우고 다시 하세요.",
    ),
    (
        TransferError,
        "가져올 수 없는 자료입니다. 색인은 바꾸지 않았습니다. 원인을 확인하고 다시 내보내세요.",
    ),
    (
        StorageDamagedError,
        "색인이 손상되었습니다. 색인 폴더를 지우고 kogemma-rag index로 다시 만드세요.",
    ),
    (StorageError, "색인을 쓸 수 없습니다. 색인 폴더를 확인하세요."),
    (EvaluationDataError, "평가할 자료를 쓸 수 없습니다. 원인에 적힌 곳을 고치세요."),
    (KoBESTModelError, "이 모델은 이대로 KoBEST로 잴 수 없습니다. 원인을 확인하세요."),
    (RetrieverSettingsError, "--try의 설정을 알아듣지 못했습니다. 원인에 적힌 대로 고치세요."),
    (RunError, "평가 폴더를 쓸 수 없습니다. 원인에 적힌 대로 하세요."),
    (DocumentLoadError, "문서를 읽지 못했습니다. 원인에 적힌 파일을 고치거나 빼세요."),
    (ImportError, "필요한 패키지가 없습니다. 원인에 적힌 대로 설치하세요."),
    (OSError, "파일이나 폴더, 모델을 열 수 없습니다. 이름과 경로, 권한을 확인하세요."),
)


def explain(error: Exception) -> str:
    """The sentence for an error, by its type; the error's own text is not in it."""
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return sentence
    return "명령을 마치지 못했습니다. --debug를 붙여 자세한 내용을 확인하세요."
