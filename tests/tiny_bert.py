"""A sentence-transformers model of a few hundred kilobytes: random BERT, one token a letter."""

from pathlib import Path

LIMIT = 48
PROMPTS = {"query": "질문: ", "document": "본문: "}


def save_tiny_bert(folder: Path, *, dimension: int = 32) -> Path:
    """Write a model that reads `LIMIT` tokens and stores `PROMPTS`; the same weights each time."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP")}
    letters = [chr(code) for code in (*range(0x21, 0x7F), *range(0xAC00, 0xD7A4))]
    vocabulary = {
        token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=dimension,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=dimension,
        max_position_embeddings=LIMIT,
        initializer_range=0.5,
    )
    source = folder / "source"
    BertModel(config).save_pretrained(source)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LIMIT, **special
    ).save_pretrained(source)
    transformer = Transformer(str(source))
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[transformer, pooling], prompts=PROMPTS, device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"
