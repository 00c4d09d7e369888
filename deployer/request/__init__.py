"""The request path: an image or TensorFlow Serving's own request in, an answer of the version that serves out.

    parse → route → [asleep? wake, hold or say when] → slot → breaker → forward → render

``parse``, ``images``, ``multipart``, ``serving_api`` and ``render`` are pure; ``routes`` knows which version serves and where;
``slots`` and ``breaker`` keep a busy or failing model from taking its callers along; ``forward`` sends; ``remote`` fetches
an image that was given by its address; ``proxy`` puts them together.
"""

from deployer.request.parse import ClassifyRequest, classify_request
from deployer.request.proxy import Answer, Proxy, Relayed
from deployer.request.serving_api import ServingCall, serving_call

__all__ = ["Answer", "ClassifyRequest", "Proxy", "Relayed", "ServingCall", "classify_request", "serving_call"]
