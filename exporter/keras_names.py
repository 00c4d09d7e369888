"""Which of Keras 3.15's names are known to do nothing but compute, by the module that a configuration gives them."""

from collections.abc import Mapping
from dataclasses import dataclass


def words(text: str) -> frozenset[str]:
    """The names in a text, which is easier to read than a list of strings."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Dialect:
    """The names that a kind of file may use: by module, and those that its older form gives without one."""

    by_module: Mapping[str, frozenset[str]]
    without_module: frozenset[str] = frozenset()


LAYERS = words(
    """
    Activation ELU LeakyReLU PReLU ReLU Softmax AdditiveAttention Attention GroupQueryAttention
    GroupedQueryAttention MultiHeadAttention Conv1D Convolution1D Conv1DTranspose Convolution1DTranspose Conv2D
    Convolution2D Conv2DTranspose Convolution2DTranspose Conv3D Convolution3D Conv3DTranspose Convolution3DTranspose
    DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConvolution1D SeparableConv2D SeparableConvolution2D
    Dense EinsumDense Embedding Identity InputLayer Masking ReversibleEmbedding Wrapper Add Average Concatenate Dot
    Maximum Minimum Multiply Subtract BatchNormalization GroupNormalization LayerNormalization RMSNormalization
    SpectralNormalization UnitNormalization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AveragePooling1D
    AvgPool1D AveragePooling2D AvgPool2D AveragePooling3D AvgPool3D GlobalAveragePooling1D GlobalAvgPool1D
    GlobalAveragePooling2D GlobalAvgPool2D GlobalAveragePooling3D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPooling1D
    GlobalMaxPool2D GlobalMaxPooling2D GlobalMaxPool3D GlobalMaxPooling3D MaxPool1D MaxPooling1D MaxPool2D
    MaxPooling2D MaxPool3D MaxPooling3D CategoryEncoding Discretization HashedCrossing Hashing IntegerLookup
    StringLookup TextVectorization AugMix AutoContrast CenterCrop ContrastLimitedAdaptiveHistogramEqualization
    CutMix Equalization MaxNumBoundingBoxes MixUp RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
    RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomZoom Resizing Solarization MelSpectrogram Normalization
    Pipeline Rescaling STFTSpectrogram ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise
    SpatialDropout1D SpatialDropout2D SpatialDropout3D Cropping1D Cropping2D Cropping3D Flatten Permute RepeatVector
    Reshape UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D Bidirectional
    ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU GRUCell LSTM LSTMCell RNN SimpleRNN SimpleRNNCell StackedRNNCells
    TimeDistributed
    """
)
INITIALIZERS = words(
    """
    STFT STFTInitializer Constant Identity IdentityInitializer Ones Zeros GlorotNormal GlorotUniform HeNormal
    HeUniform LecunNormal LecunUniform Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal
    VarianceScaling
    """
)
_POLICIES = words(
    """
    DTypePolicy FloatDTypePolicy QuantizedDTypePolicy QuantizedFloat8DTypePolicy Int4DTypePolicy AWQDTypePolicy
    GPTQDTypePolicy DTypePolicyMap
    """
)
ACTIVATIONS = words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu swish soft_shrink softmax softplus softsign
    sparse_plus sparse_sigmoid sparsemax squareplus tanh tanh_shrink threshold
    """
)
REGULARIZERS = frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"})
CONSTRAINTS = frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"})
MODELS = frozenset({"Functional", "Sequential", "Model"})

ALLOWED: dict[str, frozenset[str]] = {
    "keras": MODELS | _POLICIES | {"SeedGenerator", "Initializer"},
    "keras.models": MODELS,
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.layers": LAYERS,
    "keras.src.applications.convnext": frozenset({"LayerScale", "StochasticDepth"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": REGULARIZERS,
    "keras.constraints": CONSTRAINTS,
    "keras.activations": ACTIVATIONS,
    "keras.dtype_policies": _POLICIES,
    "keras.mixed_precision": _POLICIES,
    "keras.quantizers": frozenset(
        {"AbsMaxQuantizer", "Quantizer", "QuantizationConfig", "Int8QuantizationConfig", "Int4QuantizationConfig"}
        | {"Float8QuantizationConfig"}
    ),
    "keras.random": frozenset({"SeedGenerator"}),
    "keras.src.random.seed_generator": frozenset({"SeedGenerator"}),
}

KERAS_3 = Dialect(ALLOWED)
KERAS_3_HDF5 = Dialect(ALLOWED, LAYERS | INITIALIZERS | REGULARIZERS | CONSTRAINTS | MODELS | _POLICIES)
