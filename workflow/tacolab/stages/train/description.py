"""What model.json says of a network, however it was made."""

from tacolab.codec import Elic
from tacolab.codec.adapter import Extractor, Injector


def parameters(model: Elic) -> dict[str, int]:
    """Parameters of the codec, and those of its text adapter among them."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "adapter_parameters": sum(
            parameter.numel()
            for module in model.modules()
            if isinstance(module, Injector | Extractor)
            for parameter in module.parameters()
        ),
    }
