/* What is called once after a restore of 32 MB: reads 64 pages of the image, and writes one (bench/scenarios/restore.ts). */
__attribute__((export_name("handle"))) int handle(void) {
  const unsigned char *memory = (const unsigned char *)0;
  int sum = 0;
  for (unsigned page = 0; page < 1024; page += 16) sum += ((volatile const unsigned char *)memory)[page * 4096];
  *(volatile int *)(32 * 1024 * 1024 - 4096) = sum;
  return sum;
}
