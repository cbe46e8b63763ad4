"""Two settings spread over a picture: a spec -> trained pixels -> a tracked run and its pictures.

Public: `spec.MapSpec`, `make.make_map`, `marks.marks_of`, `pictures.draw_map`. Nothing here tests a hypothesis.
"""
