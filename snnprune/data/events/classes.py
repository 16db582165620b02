"""Names of the classes of data sets that have many: those of their folders, in the order of the labels."""

CALTECH = """
BACKGROUND_Google Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular
bonsai brain brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier
cougar_body cougar_face crab crayfish crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly
electric_guitar elephant emu euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone
grand_piano hawksbill headphone hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop
llama lobster lotus mandolin mayfly menorah metronome minaret nautilus octopus okapi pagoda panda pigeon
pizza platypus pyramid revolver rhino rooster saxophone schooner scissors scorpion sea_horse snoopy
soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch
water_lilly wheelchair wild_cat windsor_chair wrench yin_yang
"""
"""N-Caltech101: the folders of Caltech-101 without `Faces`; capital letters come first."""

LIP = """
accused action allow allowed america american another around attacks banks become being benefit benefits
between billion called capital challenge change chief couple court death described difference different
during economic education election england evening everything exactly general germany giving ground happen
happened having heavy house hundreds immigration judge labour leaders legal little london majority meeting
military million minutes missing needs number numbers paying perhaps point potential press price question
really right russia russian saying security several should significant spend spent started still support
syria syrian taken taking terms these thing think times tomorrow under warning water welcome words worst
years young
"""
"""DVS-Lip: words that are read from lips."""
