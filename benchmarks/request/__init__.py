"""The request path against what people build by hand: same client, same JPEG, same compiled upstream, in one run."""
