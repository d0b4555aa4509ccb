// The clip in the page: a JSON head and one deflated block of little-endian arrays.

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Frames were stored as differences to the frame before, which deflate better.
function integrate(values, stride) {
  for (let i = stride; i < values.length; i += 1) values[i] += values[i - stride];
  return values;
}

export async function load() {
  const head = JSON.parse(document.getElementById("clip").textContent);
  const block = await inflate(bytesOf(document.getElementById("arrays").textContent.trim()));
  let at = 0;
  const take = (length) => {
    const values = new Int16Array(block, at, length);
    at += 2 * length;
    return values;
  };
  const { frames, people, joints, dims } = head;
  for (const side of head.sides) {
    side.points = integrate(take(frames * people * joints * dims), people * joints * dims);
    side.there = new Uint8Array(frames * people * joints);
    const seen = take(frames * people * joints);
    for (let i = 0; i < seen.length; i += 1) side.there[i] = seen[i];
  }
  head.placed.points = integrate(
    take(frames * people * head.placed.joints * dims), people * head.placed.joints * dims);
  if (head.errors) head.errors.values = new Uint16Array(take(frames * people * joints));
  return head;
}
