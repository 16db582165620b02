"""Tools that make a torch network of a NIR graph, which is called frame by frame with its state."""

from showing import Job, show_torch

job = Job()
net = job.read()["net"]
show_torch(job, net, net)
