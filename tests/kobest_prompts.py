"""What the harness asks about the first example of each task of kobest_release, 5-shot."""

PLAIN = {
    "boolq": """\
글 train3188. 질문: train3188인가? 답변:  아니오

글 train1806. 질문: train1806인가? 답변:  아니오

글 train479. 질문: train479인가? 답변:  예

글 train31. 질문: train31인가? 답변:  예

글 train372. 질문: train372인가? 답변:  아니오

글 test1. 질문: test1인가? 답변: """,
    "copa": """\
일 train1806.  왜냐하면 하나 train1806

일 train479.  그래서 둘 train479

일 train31.  그래서 둘 train31

일 train372.  왜냐하면 하나 train372

일 train2385.  그래서 둘 train2385

일 test1.  그래서""",
    "hellaswag": """\
문장: 앞 train1980. 가 train1980

문장: 앞 train1594. 가가가 train1594

문장: 앞 train903. 가가가가 train903

문장: 앞 train240. 가 train240

문장: 앞 train16. 가 train16

문장: 앞 test1.""",
    "sentineg": """\
문장: 말 train3188 긍부정: 부정

문장: 말 train1806 긍부정: 부정

문장: 말 train479 긍부정: 긍정

문장: 말 train31 긍부정: 긍정

문장: 말 train372 긍부정: 부정

문장: 말 test1 긍부정:""",
    "wic": """\
문장1: [배] 3188. 문장2: 이 [배] 3188. 두 문장에서 배3188가 같은 뜻으로 쓰였나? 아니오

문장1: [배] 1806. 문장2: 이 [배] 1806. 두 문장에서 배1806가 같은 뜻으로 쓰였나? 아니오

문장1: [배] 479. 문장2: 이 [배] 479. 두 문장에서 배479가 같은 뜻으로 쓰였나? 예

문장1: [배] 31. 문장2: 이 [배] 31. 두 문장에서 배31가 같은 뜻으로 쓰였나? 예

문장1: [배] 372. 문장2: 이 [배] 372. 두 문장에서 배372가 같은 뜻으로 쓰였나? 아니오

문장1: [배] 1. 문장2: 이 [배] 1. 두 문장에서 배1가 같은 뜻으로 쓰였나?""",
}

TURNS = {
    "boolq": """\
<bos><start_of_turn>user
글 train3188. 질문: train3188인가? 답변:<end_of_turn>
<start_of_turn>model
아니오<end_of_turn>
<start_of_turn>user
글 train1806. 질문: train1806인가? 답변:<end_of_turn>
<start_of_turn>model
아니오<end_of_turn>
<start_of_turn>user
글 train479. 질문: train479인가? 답변:<end_of_turn>
<start_of_turn>model
예<end_of_turn>
<start_of_turn>user
글 train31. 질문: train31인가? 답변:<end_of_turn>
<start_of_turn>model
예<end_of_turn>
<start_of_turn>user
글 train372. 질문: train372인가? 답변:<end_of_turn>
<start_of_turn>model
아니오<end_of_turn>
<start_of_turn>user
글 test1. 질문: test1인가? 답변:<end_of_turn>
<start_of_turn>model
""",
    "copa": """\
<bos><start_of_turn>user
일 train1806.  왜냐하면<end_of_turn>
<start_of_turn>model
하나 train1806<end_of_turn>
<start_of_turn>user
일 train479.  그래서<end_of_turn>
<start_of_turn>model
둘 train479<end_of_turn>
<start_of_turn>user
일 train31.  그래서<end_of_turn>
<start_of_turn>model
둘 train31<end_of_turn>
<start_of_turn>user
일 train372.  왜냐하면<end_of_turn>
<start_of_turn>model
하나 train372<end_of_turn>
<start_of_turn>user
일 train2385.  그래서<end_of_turn>
<start_of_turn>model
둘 train2385<end_of_turn>
<start_of_turn>user
일 test1.  그래서<end_of_turn>
<start_of_turn>model
""",
    "hellaswag": """\
<bos><start_of_turn>user
문장: 앞 train1980.<end_of_turn>
<start_of_turn>model
가 train1980<end_of_turn>
<start_of_turn>user
문장: 앞 train1594.<end_of_turn>
<start_of_turn>model
가가가 train1594<end_of_turn>
<start_of_turn>user
문장: 앞 train903.<end_of_turn>
<start_of_turn>model
가가가가 train903<end_of_turn>
<start_of_turn>user
문장: 앞 train240.<end_of_turn>
<start_of_turn>model
가 train240<end_of_turn>
<start_of_turn>user
문장: 앞 train16.<end_of_turn>
<start_of_turn>model
가 train16<end_of_turn>
<start_of_turn>user
문장: 앞 test1.<end_of_turn>
<start_of_turn>model
""",
    "sentineg": """\
<bos><start_of_turn>user
문장: 말 train3188 긍부정:<end_of_turn>
<start_of_turn>model
부정<end_of_turn>
<start_of_turn>user
문장: 말 train1806 긍부정:<end_of_turn>
<start_of_turn>model
부정<end_of_turn>
<start_of_turn>user
문장: 말 train479 긍부정:<end_of_turn>
<start_of_turn>model
긍정<end_of_turn>
<start_of_turn>user
문장: 말 train31 긍부정:<end_of_turn>
<start_of_turn>model
긍정<end_of_turn>
<start_of_turn>user
문장: 말 train372 긍부정:<end_of_turn>
<start_of_turn>model
부정<end_of_turn>
<start_of_turn>user
문장: 말 test1 긍부정:<end_of_turn>
<start_of_turn>model
""",
    "wic": """\
<bos><start_of_turn>user
문장1: [배] 3188. 문장2: 이 [배] 3188. 두 문장에서 배3188가 같은 뜻으로 쓰였나?<end_of_turn>
<start_of_turn>model
아니오<end_of_turn>
<start_of_turn>user
문장1: [배] 1806. 문장2: 이 [배] 1806. 두 문장에서 배1806가 같은 뜻으로 쓰였나?<end_of_turn>
<start_of_turn>model
아니오<end_of_turn>
<start_of_turn>user
문장1: [배] 479. 문장2: 이 [배] 479. 두 문장에서 배479가 같은 뜻으로 쓰였나?<end_of_turn>
<start_of_turn>model
예<end_of_turn>
<start_of_turn>user
문장1: [배] 31. 문장2: 이 [배] 31. 두 문장에서 배31가 같은 뜻으로 쓰였나?<end_of_turn>
<start_of_turn>model
예<end_of_turn>
<start_of_turn>user
문장1: [배] 372. 문장2: 이 [배] 372. 두 문장에서 배372가 같은 뜻으로 쓰였나?<end_of_turn>
<start_of_turn>model
아니오<end_of_turn>
<start_of_turn>user
문장1: [배] 1. 문장2: 이 [배] 1. 두 문장에서 배1가 같은 뜻으로 쓰였나?<end_of_turn>
<start_of_turn>model
""",
}

ONE_TURN = {
    "boolq": """\
<bos><start_of_turn>user
글 train3188. 질문: train3188인가? 답변:  아니오

글 train1806. 질문: train1806인가? 답변:  아니오

글 train479. 질문: train479인가? 답변:  예

글 train31. 질문: train31인가? 답변:  예

글 train372. 질문: train372인가? 답변:  아니오

글 test1. 질문: test1인가? 답변:<end_of_turn>
<start_of_turn>model
""",
}
