"""A stand-in for ``tensorflow_model_server``, for machines where the real binary is not installed.

``python -m localcloud.tf_serving`` takes the real server's flags and answers its REST API: the same paths, statuses,
messages and number formats, on the same engine underneath (TensorFlow's v1 ``Session``, fed and fetched by the tensor
names of a SavedModel's signatures). What differs, on purpose:

- gRPC is not served. ``--port`` is accepted and not opened; the log says so at start-up.
- It listens while TensorFlow is being imported and models are loaded, so that a probe sees "not found" or ``LOADING``
  instead of a refused connection. The real server opens its ports after the first load.
- It listens on loopback only (``LOCALCLOUD_BIND_ADDRESS``), and opens paths through a mapping of mounts
  (``LOCALCLOUD_MOUNTS``), because no container gives it a file system of its own.
- An unknown flag ends it; the real server complains and goes on.
- SIGTERM lets running requests finish and ends with status 0.
- Batching parameters are read and checked, but requests are run one by one.

Only ``engine`` imports TensorFlow. ``flags``, ``config``, ``versions``, ``rest_path``, ``json_text``, ``tensors``,
``predict_json``, ``examples`` and ``render`` are pure; ``repository`` performs what ``versions`` decides, ``inference``
takes one request through a model, ``server`` listens.
"""
