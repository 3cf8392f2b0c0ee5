from . import errors as errors
from .data.audit import Audit as Audit
from .data.audit import Finding as Finding
from .data.audit import audit as audit
from .data.combine import combine as combine
from .data.dataset import Dataset as Dataset
from .data.disjoint import check_disjoint as check_disjoint
from .data.fetch import fetch_busi as fetch_busi
from .data.opening import open_dataset as open_dataset
from .data.preprocess import Preprocessing as Preprocessing
from .data.splitfile import load_split as load_split
from .data.splits import Split as Split
from .data.splits import folds as folds
from .data.splits import split as split
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
from .types import Sample as Sample

__version__: str
