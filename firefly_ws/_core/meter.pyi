from .delivery import Delivery
from .limits import Limits
from .parser import FrameSink
from .wheel import Watch

class Meter(FrameSink):
    def __init__(self, sink: FrameSink, delivery: Delivery, limits: Limits) -> None: ...

class Until(Watch): ...
