// Draws what the picture functions are given, and looks at pictures: for inputs.ts and the tests, not a function to deploy.
//
//   request   draw <width> <height> <seed> <quality> <thousandths of the way of sun and camera>\n
//   answer    a landscape as JPEG
//   request   look\n<JPEG>
//   answer    its size, and the mean colour of its four quarters
#include "jpeg.h"
#include "scene.h"

EXPORT("skep_init") void skep_init(void) { jpeg_start(); }

static void draw(char *at) {
  Bytes file = {0};
  int width = (int)strtol(at, &at, 10), height = (int)strtol(at, &at, 10);
  Scene scene = new_scene((uint32_t)strtoul(at, &at, 10));
  int quality = (int)strtol(at, &at, 10);
  float way = (float)strtol(at, &at, 10) / 1000;
  scene.sun_x += way;
  for (int k = 0; k < 3; k++) scene.hills[k][2] += way * 2 * (float)(k + 1);
  begin_drawing(&scene, width);
  Picture picture = new_picture(width, height, 3);
  for (int y = 0; y < height; y++) draw_row(&scene, (float)y / (float)height, picture.rows[y]);
  encode_jpeg(&picture, quality, &file);
  write_all(file.bytes, file.length);
  end_drawing(&scene);
  free_picture(&picture);
  free(file.bytes);
}

static void look(const uint8_t *bytes, size_t length) {
  Picture picture;
  size_t used;
  if (!decode_jpeg(bytes, length, &picture, &used)) {
    answer("error: this is no baseline JPEG\n");
    return;
  }
  answer("%d x %d x %d", picture.width, picture.height, picture.channels);
  for (int quarter = 0; quarter < 4; quarter++) {
    int left = quarter % 2 * picture.width / 2, top = quarter / 2 * picture.height / 2, across = picture.width / 2, down = picture.height / 2;
    for (int c = 0; c < picture.channels; c++) {
      uint64_t sum = 0;
      for (int y = top; y < top + down; y++)
        for (int x = left; x < left + across; x++) sum += picture.rows[y][x * picture.channels + c];
      answer(" %d", across * down == 0 ? 0 : (int)(sum / (uint64_t)(across * down)));
    }
  }
  answer("\n");
  free_picture(&picture);
}

EXPORT("handle") void handle(void) {
  Bytes request = read_request();
  if (strncmp((char *)request.bytes, "draw ", 5) == 0) draw((char *)request.bytes + 5);
  else if (strncmp((char *)request.bytes, "look\n", 5) == 0) look(request.bytes + 5, request.length - 5);
  else answer("error: draw or look\n");
  free(request.bytes);
}
