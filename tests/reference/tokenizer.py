"""Ids of transformers' CLIP and T5 tokenizers for strings that are easy to get wrong, as JSON (pure ASCII escapes)."""
import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5Tokenizer

from common import write_rows

ASSETS = Path(__file__).resolve().parents[2] / "assets"
FOLDER = ASSETS / "demo-base" / "tokenizer"
T5_LENGTH = 64

STRINGS = [
    "", " ", "a", "red apple, flat style", "A Photo Of A CAT", "HELLO WORLD", "mIxEd CaSe", "  leading and trailing  ",
    "double  spaces   inside", "line one\nline two", "tab\tseparated\twords", "carriage\r\nreturn", "form\ffeed\vand vertical tab",
    "it's a dog's life", "they're we've I'm you'll he'd don't", "'s 's 't 'S IT'S DON'T", "rock'n'roll 'quoted' ''",
    "\u2018curly\u2019 \u201cquotes\u201d it\u2019s", "caf\u00e9 na\u00efve \u00fcber \u00c5ngstr\u00f6m", "cafe\u0301 decomposed", "\u00c9COLE \u0130stanbul \u1e9e stra\u00dfe",
    "\U0001f34e", "\U0001f600\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd ok", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea",
    "\u4e00\u53ea\u732b", "\u6f22\u5b57\u3068\u304b\u306a\u3068\u30ab\u30bf\u30ab\u30ca", "\u30ab\u3099 \uff76\uff9e \uff21\uff22\uff23", "\ud55c\uad6d\uc5b4 \uace0\uc591\uc774", "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u041a\u041e\u0422",
    "\u03b1\u03b2\u03b3 \u03a3\u03a3\u03c2", "\u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "!", "!!", "!!!", "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", "?!?!...", "-- --- \u2014 \u2013 \u2026", "#hashtag @user $5 100% a&b a+b=c", "(parentheses) [brackets] {braces} <angle>",
    "0", "1234567890", "3.14159, 1e-5", "512x512", "\u00bd \u00b2 \u2075 \u2167 \u0663", "v1.5-pruned", "a_b__c snake_case_name",
    "&amp; &lt;b&gt; &quot;x&quot;", "&amp;amp; &#39;", "<|startoftext|>", "<|endoftext|>", "before <|endoftext|> after", "<|startoftext|>cat", "<|ENDOFTEXT|>",
    "nul\u0000char", "bell\u0007 esc\u001b[0m del\u007f", "\u00a0no\u00a0break\u00a0space", "\u3000ideographic\u3000space", "zero\u200bwidth\u200cjoin\u200der", "\ufeffbyte order mark", "soft\u00adhyphen", "\u202eright to left",
    "\ufffd replacement", "\u2028line\u2029paragraph", "\u0085next line", "\ufb01ligature \ufb03", "\u00b5 \u03bc \u212b \u00c5", "\U0001d54f math \U00010348 gothic",
    "a" * 200, "supercalifragilisticexpialidocious", "Donaudampfschifffahrtsgesellschaftskapit\u00e4n", "x" * 20 + "!" * 20 + "1" * 20,
    " ".join(f"word{i}" for i in range(200)), " ".join(["cat"] * 200), " ".join(["the quick brown fox jumps over the lazy dog"] * 25),
    "(masterpiece:1.2), best quality, <lora:ink:0.8>, 1girl", "https://example.org/a?b=c&d=e#f", "\\n is not a newline \\", "C:\\path\\to\\file.png", "`code` ~tilde~ ^caret^ |pipe|",
    "\u00e6\u00f8\u00e5 \u00c6\u00d8\u00c5 \u0141\u00f3d\u017a \u010de\u0161tina", "ti\u1ebfng Vi\u1ec7t", "\u200d", "\ufe0f", "'", "''''", "\"", "a'b''c", "e\u0301\u0302\u0303 stacked marks",
]


BEGIN, END, LENGTH, TEXT = 49406, 49407, 77, 75
LONG = ["", "cat!", " ".join(["cat"] * 74), " ".join(["cat"] * 75), "! " * 76, " ".join(f"word{i}" for i in range(200))]


def chunks(tokens, padding, count):
    """kohya's way: padded to count * 75 + 2, then cut, each piece between the first and the last id of the whole."""
    whole = [BEGIN, *tokens[: count * TEXT], END]
    whole += [padding] * (count * TEXT + 2 - len(whole))
    rows = [[whole[0], *whole[i : i + TEXT], whole[-1]] for i in range(1, count * TEXT, TEXT)]
    if padding != END:
        for k, row in enumerate(rows):
            if len(tokens) >= (k + 1) * TEXT:  # the piece is full of text
                row[-1] = END
            if len(tokens) <= k * TEXT:  # nothing in it
                row[1] = END
    return rows


def make_clip():
    tok = CLIPTokenizer.from_pretrained(FOLDER)
    rows = [dict(text=s, ids=tok(s, padding="max_length", truncation=True, max_length=77).input_ids) for s in STRINGS]
    assert all(len(r["ids"]) == 77 for r in rows)
    write_rows("tokenizer.json", rows)
    print(len(rows), "strings,", type(tok).__name__, type(tok.backend_tokenizer).__name__)
    long = []
    for text in LONG:
        tokens = tok(text, add_special_tokens=False).input_ids
        assert chunks(tokens, END, 1)[0] == tok(text, padding="max_length", truncation=True, max_length=77).input_ids
        long += [dict(text=text, padding=p, ids=chunks(tokens, p, n)) for p in (END, 0) for n in (1, 3)]
    write_rows("tokenizer-chunks.json", long)


def make_t5():
    """By tokenizer.json as published. T5Tokenizer of transformers 5 takes only the vocabulary from it and splits before U+0085."""
    strings = STRINGS + ["a photo of a cat", "<pad> x </s> y <unk> <extra_id_0>", "trailing \n", "\u2581 \u2581already\u2581marked"]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        file.write_bytes(gzip.decompress((ASSETS / "tokenizers" / "t5" / "tokenizer.json.gz").read_bytes()))
        tok = PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
        other = T5Tokenizer.from_pretrained(folder)
    ids = lambda tok, s: tok(s, padding="max_length", truncation=True, max_length=T5_LENGTH).input_ids
    rows = [dict(text=s, ids=ids(tok, s)) for s in strings]
    assert all(len(r["ids"]) == T5_LENGTH for r in rows)
    print("T5Tokenizer differs on", [r["text"] for r in rows if ids(other, r["text"]) != r["ids"]])
    write_rows("t5/tokenizer.json", rows)


def make():
    make_clip()
    make_t5()
