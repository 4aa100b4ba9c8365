"""TensorFlow operations that a SavedModel may consist of: an allow-list, for a model of others is a program of others.

Allowed is what the models of all recipes consist of (`python -m tests.exports` prints it), and of TensorFlow's further
operations those that compute numbers, arrays, strings and images from what they are given: nothing that touches files,
processes, other machines, the terminal, Python, datasets, queues, tables or shared state is here, and nothing that
waits. An operation that is not named is refused, also one that TensorFlow will have tomorrow. Where the model of a
recipe comes to need another one, tests/core/safe_loading/test_saved_models.py says so.

Source: https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md ("models are programs").
"""

from __future__ import annotations

# Those that call functions of the graph, which their attributes name.
CALLING = frozenset(
    (
        "Case",
        "If",
        "PartitionedCall",
        "StatefulPartitionedCall",
        "StatelessCase",
        "StatelessIf",
        "StatelessWhile",
        "While",
    )
)

# Those that write and read checkpoints. They stand in every SavedModel, for TensorFlow Serving; tlkit never runs them.
SAVING = frozenset(("MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"))

_ARRAYS = """
    ArgMax ArgMin BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Cast ConcatOffset ConcatV2 Const Cumprod Cumsum
    DenseBincount DepthToSpace EmptyTensorList EnsureShape ExpandDims Fill Gather GatherNd GatherV2 Identity IdentityN
    InvertPermutation LinSpace LowerBound MatrixBandPart MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot
    OnesLike Pack Pad PadV2 Range Rank Reshape Reverse ReverseV2 Roll ScatterNd Select SelectV2 Shape ShapeN Size Slice
    SpaceToBatchND SpaceToDepth Split SplitV Squeeze StopGradient StridedSlice TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
    TensorListPushBack TensorListReserve TensorListResize TensorListScatterIntoExistingList TensorListScatterV2
    TensorListSetItem TensorListSplit TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin
    TensorScatterSub TensorScatterUpdate Tile TopKV2 Transpose Unpack UnravelIndex UpperBound Where ZerosLike
"""
_NUMBERS = """
    Abs Acos Acosh Add AddN AddV2 All Any ApproximateEqual Asin Asinh Atan Atan2 Atanh BatchMatMul BatchMatMulV2
    BatchMatMulV3 BitwiseAnd BitwiseOr BitwiseXor Ceil ClipByValue Cos Cosh Div DivNoNan Einsum Equal Erf Erfc Erfinv
    EuclideanNorm Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Inv Invert IsFinite IsInf IsNan L2Loss LeftShift
    Less LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Neg
    NotEqual Pow Prod RealDiv Reciprocal RightShift Rint Round Rsqrt Sigmoid Sign Sin Sinh Sqrt Square
    SquaredDifference Sub Sum Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""
_NETWORKS = """
    AvgPool BiasAdd BiasAddV1 Conv2D Conv2DBackpropInput DepthwiseConv2dNative Elu ExtractImagePatches FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 LRN LeakyRelu LogSoftmax MaxPool MaxPoolV2 Relu Relu6 Selu Softmax Softplus
    Softsign
"""
_IMAGES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg DecodeBmp
    DecodeGif DecodeImage DecodeJpeg DecodePaddedRaw DecodePng DecodeRaw DecodeWebP EncodeJpeg EncodePng
    ExtractJpegShape HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 RGBToHSV ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor
    ScaleAndTranslate
"""
_STRINGS = """
    AsString RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength
    StringLower StringSplitV2 StringStrip StringToNumber StringUpper Substr
"""
# Random numbers that follow from a seed that is given.
_CHANCE = """
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal
    StatelessTruncatedNormalV2
"""
# Inputs, checks of them (Assert raises, and prints nothing), and the model's own variables.
_STATE = """
    Assert AssignVariableOp DisableCopyOnRead NoOp Placeholder PlaceholderWithDefault
    ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
"""
ALLOWED = CALLING.union(
    *(text.split() for text in (_ARRAYS, _NUMBERS, _NETWORKS, _IMAGES, _STRINGS, _CHANCE, _STATE))
)
