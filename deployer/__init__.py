"""The use cases of Slipway, its pure decisions, and the adapters to Azure, Kubernetes and TensorFlow Serving."""

__version__ = "0.1.0"
