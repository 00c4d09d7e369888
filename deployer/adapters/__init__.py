"""The adapters: each implements ports with one SDK, and knows no other adapter."""
