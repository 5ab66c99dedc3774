"""The objects of the lab's cluster: plain data, which `lab.world` holds and `lab.kubernetes` serves.

- state       ClusterState: the objects, their history for watches, and the few settings that no object can express
- resources   which kinds there are, and how paths and messages name them
- podlogs     what containers wrote, and how the API shows it
- timestamps  points in time, as Kubernetes writes them
"""
