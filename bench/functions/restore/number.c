/* A no-op with a state of its own: keeps a number, and answers what follows from it (bench/scenarios/density.ts). */
static volatile unsigned kept;

__attribute__((export_name("keep"))) void keep(unsigned number) { kept = number; }
__attribute__((export_name("handle"))) unsigned handle(void) { return kept * 2654435761u; }
