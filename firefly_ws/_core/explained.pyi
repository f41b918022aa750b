from firefly_ws.details import CloseDetails

from .keepalive import Kept

class Explained(Kept):
    @property
    def close_details(self) -> CloseDetails | None: ...
