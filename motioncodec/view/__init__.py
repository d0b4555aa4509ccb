"""Something to look at: one clip, or two to compare, as a page, a sheet of pictures or a film.

staging    clips to what is drawn: metres, y up, errors, the codec's planes
page       one HTML file that needs no network
drawing    PNG, GIF and MP4
"""
