const NONE = 0xffff_ffff;

/**
 * A priority queue of numbered slots by their time, in typed arrays: 16 bytes a slot, and no object
 * for the garbage collector to visit. A heap with four children a node, shallow and cache-friendly.
 */
export class SlotHeap {
  #times = new Float64Array(1024);
  /** Slots in heap order, and where in it each slot stands. */
  #heap = new Uint32Array(1024);
  #places = new Uint32Array(1024).fill(NONE);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The slot with the least time; undefined when empty. */
  get first(): number | undefined {
    return this.#size > 0 ? this.#heap[0] : undefined;
  }

  timeOf(slot: number): number {
    return this.#times[slot]!;
  }

  /** Adds a slot, or moves it to another time. */
  set(slot: number, time: number): void {
    if (slot >= this.#times.length) this.#grow(slot + 1);
    this.#times[slot] = time;
    let place = this.#places[slot]!;
    if (place === NONE) place = this.#size++;
    this.#sink(this.#rise(place, slot), slot);
  }

  remove(slot: number): void {
    const place = this.#places[slot]!;
    this.#places[slot] = NONE;
    const last = this.#heap[--this.#size]!;
    if (last !== slot) this.#sink(this.#rise(place, last), last);
  }

  /** Moves up, from a place, to where a slot belongs among its parents. */
  #rise(from: number, slot: number): number {
    const time = this.#times[slot]!;
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 2;
      const above = this.#heap[parent]!;
      if (this.#times[above]! <= time) break;
      this.#put(place, above);
      place = parent;
    }
    return place;
  }

  /** Moves down, from a place, to where a slot belongs among its children, and puts it there. */
  #sink(from: number, slot: number): void {
    const time = this.#times[slot]!;
    let place = from;
    for (;;) {
      const firstChild = place * 4 + 1;
      const end = Math.min(firstChild + 4, this.#size);
      let least = -1;
      let leastTime = time;
      for (let child = firstChild; child < end; child++) {
        const childTime = this.#times[this.#heap[child]!]!;
        if (childTime < leastTime) {
          least = child;
          leastTime = childTime;
        }
      }
      if (least < 0) break;
      this.#put(place, this.#heap[least]!);
      place = least;
    }
    this.#put(place, slot);
  }

  #put(place: number, slot: number): void {
    this.#heap[place] = slot;
    this.#places[slot] = place;
  }

  #grow(needed: number): void {
    const length = Math.max(needed, Math.ceil(this.#times.length * 1.5));
    const times = new Float64Array(length);
    const heap = new Uint32Array(length);
    const places = new Uint32Array(length).fill(NONE);
    times.set(this.#times);
    heap.set(this.#heap);
    places.set(this.#places);
    this.#times = times;
    this.#heap = heap;
    this.#places = places;
  }
}
