from . import errors as errors
from .data.preprocess import Preprocessing as Preprocessing
from .infer.flags import Flag as Flag
from .infer.lesions import Lesion as Lesion
from .infer.prediction import Failure as Failure
from .infer.prediction import Prediction as Prediction
from .infer.rules import Rules as Rules
from .model.create import create as create
from .model.model import Model as Model
from .model.registry import load as load
from .network.config import NetworkConfig as NetworkConfig
from .network.network import Network as Network
from .network.network import Output as Output

__version__: str
