"""ko-gemma에게 정해진 꼴의 답을 받고, 도구를 부르게 합니다.

python examples/03_schema_and_tools.py                              # GPU에서 ko-gemma-2b로
python examples/03_schema_and_tools.py http://localhost:8000/v1     # 모델 서버로
"""

import datetime
import sys
from typing import Literal

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from kogemma_rag import load_chat_model


class Trip(BaseModel):
    """출장 신청."""

    city: Literal["서울", "부산", "제주"] = Field(description="출장지")
    nights: int = Field(ge=0, le=30, description="숙박 일수")


@tool
def add_days(start: datetime.date, days: int) -> str:
    """날짜에 며칠을 더한다."""
    return str(start + datetime.timedelta(days=min(days, 3650)))


def read_request(chat_model: BaseChatModel) -> Trip:
    """A reply that is an object of a pydantic class, whatever the model would rather say."""
    answered = chat_model.with_structured_output(Trip).invoke(
        "7월 1일에 부산으로 내려가 두 밤 자고 올라옵니다."
    )
    return Trip.model_validate(answered)


def ask_agent(chat_model: BaseChatModel, question: str) -> tuple[list[str], str]:
    """Names of the tools that an agent called, and its answer."""
    agent = create_agent(chat_model, [add_days], system_prompt="날짜 계산은 도구로 하세요.")
    result = agent.invoke(
        {"messages": [{"role": "user", "content": question}]}, {"recursion_limit": 10}
    )
    called = [
        call["name"]
        for message in result["messages"]
        if isinstance(message, AIMessage)
        for call in message.tool_calls
    ]
    return called, result["messages"][-1].text


def main(chat_model_name: str) -> None:
    """Run both."""
    chat_model = load_chat_model(chat_model_name, max_tokens=300)
    print("출장:", read_request(chat_model))
    called, answer = ask_agent(chat_model, "2026년 7월 1일부터 45일 뒤는 언제인가요?")
    print("도구:", ", ".join(called) or "없음")
    print("답:", answer)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "nlpai-lab/ko-gemma-2b-v1")
