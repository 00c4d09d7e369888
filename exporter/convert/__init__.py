"""What runs in the converting process, and nowhere else: everything here may import TensorFlow and Keras."""
