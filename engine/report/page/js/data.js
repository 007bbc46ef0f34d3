/* The blob unpacked: ES.data, ES.row(name), ES.spectrum(row, prefix). Its format: engine/report/page/packing.py. */
(() => {
  const KINDS = {
    u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array, f64: Float64Array,
  };

  async function unzipped(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* Bytes sorted by significance -> numbers. */
  function numbers(bytes, [kind, offset, length]) {
    const Kind = KINDS[kind], width = Kind.BYTES_PER_ELEMENT, result = new Uint8Array(length * width);
    for (let plane = 0; plane < width; plane++) {
      const from = offset + plane * length;
      for (let i = 0; i < length; i++) result[i * width + plane] = bytes[from + i];
    }
    return new Kind(result.buffer);
  }

  function revive(value, bytes) {
    if (value === null || typeof value !== 'object') return value;
    if (Array.isArray(value)) return value.map(each => revive(each, bytes));
    if (value.$) return numbers(bytes, value.$);
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revive(each, bytes)]));
  }

  const words = column => column.words
    ? Array.from(column.places, place => place ? column.words[place - 1] : null) : column;

  ES.load = async text => {
    const bytes = await unzipped(text.trim());
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const content = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    const data = revive(content, bytes.subarray(4 + length));
    for (const [name, column] of Object.entries(data.rows)) data.rows[name] = words(column);
    data.place = new Map((data.rows.name || []).map((name, i) => [name, i]));
    ES.data = data;
  };

  /* The row of the matrix of this name; -1 where there is none. */
  ES.row = name => ES.data.place.get(name) ?? -1;

  let starts = null;

  function startsOf(spectra) {
    const sum = counts => {
      const result = new Uint32Array(counts.length + 1);
      counts.forEach((count, i) => { result[i + 1] = result[i] + count; });
      return result;
    };
    starts = { values: sum(spectra.values.count), right: sum(spectra.right.count), left: sum(spectra.left.count) };
  }

  function kept(series, from, to) {
    const index = new Uint32Array(to - from);
    let at = -1;
    for (let i = from; i < to; i++) index[i - from] = at += series.step[i];
    return index;
  }

  function valuesOf(series, place, size) {
    const from = starts.values[place], to = starts.values[place + 1], index = kept(series, from, to);
    const low = series.low[place], scale = (series.high[place] - low) / 65534;
    const at = i => series.code[from + i] ? Math.exp(low + scale * (series.code[from + i] - 1)) : 0;
    const result = new Float32Array(size);
    for (let i = 0; i < index.length; i++) {
      result[index[i]] = at(i);
      if (i === 0) continue;
      const gap = index[i] - index[i - 1], left = at(i - 1), right = at(i);
      for (let k = 1; k < gap; k++) result[index[i - 1] + k] = left + (right - left) * k / gap;
    }
    return { values: result, thinned: index.length < size };
  }

  /* Mean of p over 15 neighbouring indices, fewer at the ends, of those that there are. */
  function averages(index, p) {
    const result = new Float32Array(p.length);
    let low = 0, high = 0, sum = 0;
    for (let i = 0; i < p.length; i++) {
      while (high < p.length && index[high] <= index[i] + 7) sum += p[high++];
      while (index[low] < index[i] - 7) sum -= p[low++];
      result[i] = sum / (high - low);
    }
    return result;
  }

  function sideOf(spectra, side, place) {
    const series = spectra[side], from = starts[side][place], to = starts[side][place + 1];
    const index = kept(series, from, to);
    const p = Float32Array.from(index, (_, i) => Math.exp((1 - series.code[from + i]) / spectra.scale));
    const rejected = Uint8Array.from(index, (_, i) => series.code[from + i] >= series.cut[place] ? 1 : 0);
    const mean = series.thinned[place];
    const avg = mean ? Float32Array.from(index, (_, i) => series.mean[mean - 1 + i] / 255) : averages(index, p);
    return { index, p, avg, rejected, thinned: mean > 0 };
  }

  /* A matrix's reading: {size, values, thinned, right: {index, p, avg, rejected, thinned}, left}; null where it has none.
     values: all singular values, descending, those between kept ones interpolated; p, its local average and whether
     Benjamini-Hochberg rejects (1 or 0) at the kept indices. */
  ES.spectrum = (row, prefix = '') => {
    const { spectra, readings } = ES.data;
    const reading = readings.findIndex(each => each.prefix === prefix);
    if (!spectra || row < 0 || reading < 0) return null;
    if (!starts) startsOf(spectra);
    const place = row * readings.length + reading, size = spectra.size[place];
    if (!size) return null;
    return {
      size, ...valuesOf(spectra.values, place, size),
      right: sideOf(spectra, 'right', place), left: sideOf(spectra, 'left', place),
    };
  };
})();
