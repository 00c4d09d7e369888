"""Turns a model file into a verified TensorFlow Serving servable. Knows nothing of Azure or Kubernetes."""
