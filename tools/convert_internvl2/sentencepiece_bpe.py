"""A sentencepiece model of the kind of InternLM2's, as a fast tokenizer, without the sentencepiece package.

The file is a protocol buffer (src/sentencepiece_model.proto of google/sentencepiece), of which a dozen fields matter.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors

from makd.errors import UserError

SPACE = "▁"
NORMAL, UNKNOWN, USER_DEFINED, BYTE = 1, 2, 4, 6
"""Types of a piece; 3 is a control piece, which no text becomes, and 5 an unused one."""

UNUSED, BPE = 5, 2

AddedTokens = dict[int, dict[str, Any]]
"""`added_tokens_decoder` of tokenizer_config.json: id to content and flags."""


@dataclass(frozen=True)
class Piece:
    """A row of the vocabulary; of two possible merges that with the higher score comes first."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class Pieces:
    """What of the model decides how a text is cut."""

    vocabulary: list[Piece]
    byte_fallback: bool
    characters: bytes  # a compiled table of characters to replace, empty for none
    single_spaces: bool  # none at the ends, one in between
    dummy_prefix: bool  # a space in front of every text


def read_sentencepiece(file: Path) -> Pieces:
    """Read a tokenizer.model.

    Raises:
        UserError: not a sentencepiece model, or one that changes the text in ways that are not supported.
    """
    try:
        model = list(fields(file.read_bytes()))
        trainer, text = (
            dict(fields(next((value for number, value in model if number == part), b""))) for part in (2, 3)
        )
        vocabulary = [piece(dict(fields(value))) for number, value in model if number == 1]
    except (ValueError, IndexError, KeyError, struct.error, TypeError) as error:
        raise UserError(f"{file} is no sentencepiece model: {error}; download it again") from error
    for refused, what in (
        (trainer.get(3, 1) != BPE, "an algorithm other than BPE"),
        (bool(trainer.get(24, 0)), "white space as suffix"),
        (not text.get(5, 1), "white space that is not escaped"),
        (any(piece.kind == UNUSED for piece in vocabulary), "unused pieces"),
    ):
        if refused:
            raise UserError(f"{file} has {what}, which is not supported")
    return Pieces(
        vocabulary,
        byte_fallback=bool(trainer.get(35, 0)),
        characters=text.get(2, b""),
        single_spaces=bool(text.get(4, 1)),
        dummy_prefix=bool(text.get(3, 1)),
    )


def piece(values: dict[int, Any]) -> Piece:
    return Piece(values[1].decode(), struct.unpack("<f", values.get(2, bytes(4)))[0], values.get(3, NORMAL))


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protocol buffer message: integers as int, all else as bytes."""
    position = 0

    def integer() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        number, wire = divmod(integer(), 8)
        if wire == 0:
            yield number, integer()
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"wire type {wire} at byte {position}")
        length = {1: 8, 5: 4}[wire] if wire != 2 else integer()
        if position + length > len(message):
            raise ValueError(f"it ends in the middle of field {number}")
        yield number, message[position : position + length]
        position += length


def to_tokenizer(pieces: Pieces, added: AddedTokens, bos: str | None) -> Tokenizer:
    """A tokenizer that cuts a text as sentencepiece does between the added tokens.

    Added tokens take the place of pieces that InternLM2 keeps free for them, or follow the last one.

    Raises:
        UserError: a gap between the last piece and the added tokens.
    """
    words = [piece.text for piece in pieces.vocabulary]
    for number, token in sorted(added.items()):
        if number > len(words):
            raise UserError(f"added_tokens_decoder: {token['content']!r} has the id {number}, {len(words)} is next")
        words[number : number + 1] = [token["content"]]
    vocabulary = {word: number for number, word in enumerate(words)}
    if len(vocabulary) != len(words):
        raise UserError("tokenizer.model and added_tokens_decoder have tokens in common under different ids")
    unknown = next((piece.text for piece in pieces.vocabulary if piece.kind == UNKNOWN), None)
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            merges(pieces.vocabulary, set(added)),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=pieces.byte_fallback,
        )
    )
    tokenizer.normalizer = normalizer(pieces)
    strip = [decoders.Strip(" ", 1, 0)] if pieces.dummy_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    whole = [piece.text for number, piece in enumerate(pieces.vocabulary) if is_whole(piece, number, added)]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in whole])
    tokenizer.add_special_tokens([added_token(token) for _, token in sorted(added.items())])
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos}:0 $A:0", pair=f"{bos}:0 $A:0 {bos}:1 $B:1", special_tokens=[(bos, vocabulary[bos])]
        )
    return tokenizer


def normalizer(pieces: Pieces) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if pieces.characters:
        steps.append(normalizers.Precompiled(pieces.characters))
    if pieces.single_spaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if pieces.dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])


def is_whole(piece: Piece, number: int, added: AddedTokens) -> bool:
    """Pieces that sentencepiece finds before anything is merged."""
    return piece.kind == USER_DEFINED and number not in added


def added_token(token: dict[str, Any]) -> AddedToken:
    flags = {name: token.get(name, False) for name in ("single_word", "lstrip", "rstrip", "normalized")}
    return AddedToken(token["content"], special=token.get("special", True), **flags)


def merges(vocabulary: list[Piece], replaced: set[int]) -> list[tuple[str, str]]:
    """All ways to put a piece together from two others, the best score first."""
    scores = {
        piece.text: piece.score
        for number, piece in enumerate(vocabulary)
        if piece.kind == NORMAL and number not in replaced
    }
    pairs = [
        (score, word[:cut], word[cut:])
        for word, score in scores.items()
        for cut in range(1, len(word))
        if word[:cut] in scores and word[cut:] in scores
    ]
    pairs.sort(key=lambda pair: -pair[0])  # stable: equal scores stay in the order of the vocabulary
    return [(left, right) for _, left, right in pairs]
