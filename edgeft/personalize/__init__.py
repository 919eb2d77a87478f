"""Personalization: the tail of a bundle's model is trained on new samples on the device, in the runtime that it has.

    plan.py     what the bundle's manifest says of trunk, tail and training step
    graphs.py   the three graphs in their runtime
    state.py    versions of the trained parameters: a journal beside the bundle, consistent at any moment
    samples.py  new samples, from a folder or a stream
    learn.py    steps on new samples and on replayed old ones
    judge.py    whether a new version may be used
    run.py      all of it

numpy and one runtime are all that is imported; the training step is an inference graph like any other.
"""
