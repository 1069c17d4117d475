"""폴더의 문서를 색인하고 질문합니다.

    python examples/01_ask_a_folder.py                       # 예제 문서에 예제 질문
    python examples/01_ask_a_folder.py 내폴더 "질문" ...      # 내 문서에 내 질문

GPU가 있으면 load_chat_model("nlpai-lab/ko-gemma-2b-v1")로 바꾸어 ko-gemma가 답하게 할 수 있습니다.
"""

import sys
import tempfile
from pathlib import Path

from kogemma_rag import DocumentIndex, create_rag_chain, load_chat_model

EXAMPLES = Path(__file__).parent / "documents"
QUESTIONS = ["연차는 며칠 전까지 신청해야 하나요?", "스톡옵션은 언제부터 행사할 수 있나요?"]


def main(folder: Path, questions: list[str]) -> None:
    """Index the folder and answer each question with its sources."""
    with tempfile.TemporaryDirectory() as place, DocumentIndex.open(place) as index:
        report = index.sync(folder)
        print(f"파일 {report.added}개에서 문단 {report.chunks}개를 색인했습니다.")
        for source, reason in report.failed:
            print(f"읽지 못함: {source}: {reason}")

        chain = create_rag_chain(index.as_retriever(k=4), load_chat_model("extractive"))
        for question in questions:
            output = chain.invoke(question)
            print(f"\n질문: {question}\n{output['answer']}")
            for citation in output["citations"]:
                print(f"  [{citation.number}] {citation.source}: {citation.quote}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES, sys.argv[2:] or QUESTIONS)
