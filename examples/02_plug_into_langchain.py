"""검색기와 채팅 모델은 보통의 LangChain 부품입니다. 세 가지로 끼워 봅니다.

python examples/02_plug_into_langchain.py
python examples/02_plug_into_langchain.py nlpai-lab/ko-gemma-2b-v1     # GPU에서 ko-gemma로
"""

import sys
import tempfile
from pathlib import Path

from langchain_classic.chains import create_history_aware_retriever, create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import create_retriever_tool

from kogemma_rag import DocumentIndex, load_chat_model
from kogemma_rag.prompts import RAG_PROMPT, format_passages

DOCUMENTS = Path(__file__).parent / "documents"


def ask_with_lcel(retriever: BaseRetriever, chat_model: BaseChatModel) -> str:
    """An ordinary LCEL pipeline."""
    pipeline = (
        {"context": retriever | format_passages, "question": RunnablePassthrough()}
        | RAG_PROMPT
        | chat_model
        | StrOutputParser()
    )
    return pipeline.invoke("회의실은 며칠 전부터 예약할 수 있나요?")


def ask_with_retrieval_chain(retriever: BaseRetriever, chat_model: BaseChatModel) -> str:
    """create_retrieval_chain with a system prompt and a history, which Gemma's template refuses."""
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "아래 문서만 근거로 답하고 번호를 [1]처럼 붙이세요.\n\n{context}"),
            MessagesPlaceholder("chat_history"),
            ("human", "{input}"),
        ]
    )
    rewrite_prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "대화를 보고 후속 질문을 홀로 설 수 있는 질문 하나로 고쳐 쓰세요."),
            MessagesPlaceholder("chat_history"),
            ("human", "후속 질문: {input}"),
        ]
    )
    numbered = retriever | number_documents
    chain = create_retrieval_chain(
        create_history_aware_retriever(chat_model, numbered, rewrite_prompt),
        create_stuff_documents_chain(
            chat_model,
            prompt,
            document_prompt=PromptTemplate.from_template("[{number}] {source}\n{page_content}"),
        ),
    )
    history = [HumanMessage("재택근무는 한 주에 며칠까지 하나요?"), AIMessage("3일입니다.")]
    output = chain.invoke(
        {"input": "입사하고 얼마나 지나야 재택근무를 하나요?", "chat_history": history}
    )
    return str(output["answer"])


def number_documents(documents: list[Document]) -> list[Document]:
    """Copies that carry their rank, for a document prompt."""
    return [
        document.model_copy(update={"metadata": document.metadata | {"number": number}})
        for number, document in enumerate(documents, start=1)
    ]


def search_as_tool(retriever: BaseRetriever) -> str:
    """The retriever as a tool, for any agent."""
    tool = create_retriever_tool(retriever, "search_rules", "회사 규정과 안내문을 찾는다.")
    return str(tool.invoke({"query": "업무용 노트북 교체 주기"}))


def main(chat_model_name: str) -> None:
    """Run all three over the example documents."""
    chat_model = load_chat_model(chat_model_name)
    with tempfile.TemporaryDirectory() as place, DocumentIndex.open(place) as index:
        index.sync(DOCUMENTS)
        retriever = index.as_retriever(k=4)
        print("LCEL:", ask_with_lcel(retriever, chat_model), sep="\n")
        print(
            "\ncreate_retrieval_chain:", ask_with_retrieval_chain(retriever, chat_model), sep="\n"
        )
        print("\n도구:", search_as_tool(retriever)[:300], sep="\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "extractive")
