"""What memtomem registers a model with."""


class ModelSource:
    def __init__(self, **_):
        pass


class PoolingType:
    MEAN = CLS = 0
