"""vLLM's engine in this process, as an `Answerer`; it comes with `pip install makd[vllm]` and needs its GPU.

Both answers' log-probabilities are asked for by their ids (`SamplingParams.logprob_token_ids`, vLLM of 2026), so every
answer is exact. Tested with a stand-in for `vllm` alone: no GPU was at hand.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL import ImageOps
from PIL.Image import Image
from torch import Tensor

from makd.answer_tokens import load_processor
from makd.conversation import Conversation, WholeImages
from makd.errors import UserError
from makd.estimate import Cost
from makd.extraction_params import ExtractLogitsParams
from makd.first_token import FirstToken, Malformed, exact
from makd.scorer import SelfTest
from makd.server_probes import check_mass, check_mixed_images
from makd.weights import local_folder


class VllmEngine:
    """The engine and the processor of its model, loaded once for all answerers.

    Raises:
        UserError: vllm is not installed, or does not load the model.
    """

    def __init__(self, block: ExtractLogitsParams) -> None:
        try:
            import vllm
        except ImportError as error:
            raise UserError(
                f"extract_logits.backend is vllm, which is not installed here ({error}): pip install 'makd[vllm]', or "
                "choose transformers, or server"
            ) from None
        model = str(local_folder(block.model) or block.model)
        self.block, self.vllm = block, vllm
        self.processor = load_processor(model)
        try:
            self.llm = vllm.LLM(
                model=model,
                revision=block.revision,
                dtype=block.dtype,
                generation_config="vllm",  # else the model's own repetition penalty would apply
                limit_mm_per_prompt={"image": 1},
                mm_processor_kwargs=block.processor or None,
                enable_prefix_caching=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"extract_logits.model: vllm cannot load {block.model}: {reason}") from None

    def answerer(self, messages: Sequence[str]) -> "VllmAnswerer":
        return VllmAnswerer(self, messages)


class VllmAnswerer:
    """An `Answerer` (makd/answerer.py) with vLLM's engine.

    Raises:
        UserError: an answer that is not one token behind the prompts.
    """

    why_one_by_one = None  # its prefix cache reads a picture once

    def __init__(self, engine: VllmEngine, messages: Sequence[str]) -> None:
        self.engine, self.reader = engine, WholeImages()
        conversation = Conversation(engine.processor, messages, engine.block.answers)
        self.prompts, self.ids = conversation.prompts, conversation.answer_ids
        self.sampling = engine.vllm.SamplingParams(
            max_tokens=1, temperature=0, logprobs=1, logprob_token_ids=list(self.ids), detokenize=False
        )
        self.likeliest = Counter[str]()

    def self_test(self, images: Sequence[Image]) -> SelfTest:
        """Whether pictures are looked at and kept apart, and how much of the first token the two answers hold.

        Raises:
            UserError: they are not, or next to nothing.
        """
        chosen = sorted({0, len(self.prompts) // 2, len(self.prompts) - 1})
        a, b, again = (
            self.ask([(picture, question) for question in chosen])
            for picture in (images[0], ImageOps.invert(images[0]), images[0])
        )
        difference = check_mixed_images(a, b, again)
        answers = a + self.ask([(picture, question) for picture in images[1:] for question in chosen])
        check_mass(answers, self.likeliest)
        masses = [one.mass for one in answers]
        top = dict(self.likeliest.most_common(10))
        return SelfTest(difference, len(answers), sum(masses) / len(masses), min(masses), top)

    def cost(self, inputs: Any) -> Cost:
        """Tokens of all prompts, without the picture's, which the engine alone knows; it tells no FLOPs."""
        tokenizer = self.engine.processor.tokenizer
        return Cost(sum(len(tokenizer(prompt)["input_ids"]) for prompt in self.prompts), 0)

    def score(self, batch: Sequence[Image]) -> Float[Tensor, "images questions 2"]:
        """Log P(yes) and log P(no); the first question about each picture goes ahead, into the prefix cache."""
        first = self.ask([(picture, 0) for picture in batch])
        later = [(picture, question) for picture in batch for question in range(1, len(self.prompts))]
        rest = self.ask(later)
        n = len(self.prompts) - 1
        rows = [[first[k], *rest[k * n : (k + 1) * n]] for k in range(len(batch))]
        return torch.tensor([[(one.z_yes, one.z_no) for one in row] for row in rows], dtype=torch.float32)

    def ask(self, pairs: Sequence[tuple[Image, int]]) -> list[FirstToken]:
        """Raises: UserError: the engine does not tell both log-probabilities."""
        requests = [
            {"prompt": self.prompts[question], "multi_modal_data": {"image": picture}} for picture, question in pairs
        ]
        if not requests:
            return []
        try:
            outputs = self.engine.llm.generate(requests, self.sampling, use_tqdm=False)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"vllm stopped at one of these questions: {reason}; what it answered before is kept"
            ) from None
        found = []
        for output in outputs:
            told = output.outputs[0].logprobs[0]
            self.likeliest[str(max(told, key=lambda token: told[token].logprob))] += 1
            try:
                found.append(exact(*(float(told[token_id].logprob) for token_id in self.ids)))
            except (KeyError, Malformed) as problem:
                raise UserError(
                    f"vllm {getattr(self.engine.vllm, '__version__', '?')} does not tell the log-probabilities of the "
                    f"token ids {list(self.ids)} ({problem}); update it (logprob_token_ids is of 2026)"
                ) from None
        return found
