"""Measurements that the documents print, in folders by what they answer.

From the folder of the checkout, `python -m benchmarks.speed.step --help` and the like. All take their times,
tables and files from `benchmarks.harness`. The documents name the command above each table.

    speed         a training step beside SpikingJelly, and what each method adds to it
    memory        the peak of a training step
    compaction    removing beside masking, also while a network trains
    papers        claims and tables of the DPAP, BSP, BDNN-sp and BDNN-dsd papers
    networks      what discovery reads in well-known networks
    distributed   two processes and 16 bits beside one process in float32
    data, export  frames beside Tonic's, simulated recordings beside real ones; NIR and ONNX
    documents     pictures of equations
"""
