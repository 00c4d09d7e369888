"""The HTTP API described as OpenAPI 3.1, from what the records say of the models' signatures. Pure.

``tensors`` turns a tensor's dtype and shape into JSON Schema and into an example; ``examples`` writes requests that can be
run; ``answers`` holds what all operations share; ``serving`` has those of TensorFlow Serving's API; ``document`` puts the
description together.
"""

from deployer.openapi.document import endpoint, for_all, for_model
from deployer.openapi.examples import examples

__all__ = ["endpoint", "examples", "for_all", "for_model"]
