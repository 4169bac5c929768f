"""Numbers for tokens. Imports numba, see `kernels`."""

from collections.abc import Callable, Sequence

import numpy as np

from ..tokens import TOKENIZERS
from . import kernels
from .kernels import Array
from .postings import grown


class Vocabulary:
    """Numbers for tokens, in order of first occurrence.

    Args:
        tokenizer: A name in TOKENIZERS.
    """

    def __init__(self, tokenizer: str) -> None:
        self._to_bytes: Callable[[str], str] = str.lower
        self._is_token = np.zeros(256, dtype=np.bool_)
        if tokenizer == "rouge":  # its tokens are ASCII, found in the bytes
            self._is_token[list(b"abcdefghijklmnopqrstuvwxyz0123456789")] = True
        else:
            tokenize = TOKENIZERS[tokenizer]
            self._to_bytes = lambda text: " ".join(tokenize(text))
            self._is_token[:] = True
            self._is_token[[ord(" "), kernels.SEPARATOR]] = False
        self._size = 0
        self._table = np.full(2**16, -1, dtype=np.int32)
        self._hashes = np.zeros(2**15, dtype=np.uint64)
        self._ends = np.zeros(2**15, dtype=np.int64)
        self._arena = np.zeros(2**19, dtype=np.uint8)

    def __len__(self) -> int:
        return self._size

    def encode(self, texts: Sequence[str] | Sequence[list[str]]) -> tuple[Array, Array]:
        """Number tokens.

        Args:
            texts: Texts, or the tokens of each.

        Returns:
            The start of each text and the end of the last one; the token numbers of all texts.
        """
        strings = (self._to_bytes(text) if isinstance(text, str) else " ".join(text) for text in texts)
        joined = bytes([kernels.SEPARATOR]).join(string.encode("utf-8", "surrogatepass") for string in strings)
        data = np.frombuffer(joined, dtype=np.uint8)
        tokens = np.empty(len(data) // 2 + 1, dtype=np.int32)
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        state = np.array([0, 0, 0, self._size, 0], dtype=np.int64)
        while True:
            tables = (self._table, self._hashes, self._ends, self._arena)
            kernels.encode(data, self._is_token, *tables, tokens, offsets, state)
            self._size = int(state[3])
            if state[0] >= len(data):
                return offsets, tokens[: state[2]].copy()
            if 2 * self._size >= len(self._table):
                self._table = np.full(2 * len(self._table), -1, dtype=np.int32)
                self._hashes = grown(self._hashes, len(self._table) // 2)
                self._ends = grown(self._ends, len(self._table) // 2)
                state[4] = 1
            else:
                self._arena = grown(self._arena, 2 * len(self._arena))
