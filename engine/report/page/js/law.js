/* A matrix's reading in the law's own unit, and the laws: Marchenko-Pastur, the null of averaged p-values, the normal. */
(() => {
  const SIDES = ['right', 'left'];

  /* The density of the bulk of s/(sigma sqrt(a)), a = max(m, n), without its k right and l left outliers:
     sqrt((high^2 - x^2)(x^2 - low^2)) a/(pi b x), which encloses (b - k - l)/b. */
  ES.marchenkoPastur = ({ m, n, right = 0, left = 0 }) => {
    const a = Math.max(m, n), b = Math.min(m, n);
    const long = Math.sqrt((a - right) / a), short = Math.sqrt(Math.max(b - right - left, 1) / a);
    const low = Math.max(long - short, 0), high = long + short;
    const density = x => x > low && x < high ? Math.sqrt((high ** 2 - x ** 2) * (x ** 2 - low ** 2)) * a / (Math.PI * b * x) : 0;
    return { low, high, density };
  };

  /* Points of a function over [low, high], dense at both ends, where the law has square roots. */
  ES.sampled = (f, low, high, count = 160) => Array.from({ length: count + 1 }, (_, i) => {
    const x = low + (high - low) * (1 - Math.cos(Math.PI * i / count)) / 2;
    return [x, f(x)];
  });

  /* The normal distribution function, to 1e-7 (Abramowitz & Stegun 26.2.17). */
  ES.normal = x => {
    const t = 1 / (1 + 0.2316419 * Math.abs(x));
    const series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    const tail = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) * series;
    return x > 0 ? 1 - tail : tail;
  };

  /* Standard deviation of the mean p-value of `count` vectors of this length (engine/spectral/ks.py, mean_sd). */
  ES.meanSd = (count, length) => {
    const rho = -Math.min(1, 0.4 + 4 / length ** 2) / Math.max(1, length - 1);
    return count > 0 ? Math.sqrt(Math.max(1 + (count - 1) * rho, 0) / (12 * count)) : NaN;
  };

  /* Counts of the values between successive limits (the last one included), as numpy.histogram has them. */
  ES.histogram = (values, limits) => {
    const counts = new Uint32Array(limits.length - 1), last = limits.length - 1;
    for (const x of values) {
      if (!(x >= limits[0] && x <= limits[last])) continue;
      let low = 0, high = last;
      while (high - low > 1) { const middle = (low + high) >> 1; if (x >= limits[middle]) low = middle; else high = middle; }
      counts[low]++;
    }
    return counts;
  };

  /* The null's deviation at each kept index: as many p-values as its window of 15 holds, thinned ones counted in. */
  function deviations({ index, thinned }, length) {
    const first = index[0], last = index[index.length - 1];
    let low = 0, high = 0;
    return Float32Array.from(index, i => {
      if (thinned) return ES.meanSd(Math.min(i + 7, last) - Math.max(i - 7, first) + 1, length);
      while (high < index.length && index[high] <= i + 7) high++;
      while (index[low] < i - 7) low++;
      return ES.meanSd(high - low, length);
    });
  }

  /* A matrix's reading: {row, prefix, m, n, unit, values (descending, in the law's unit), right, left (numbers of
     outliers), tested, thresholds [left, right], p: {right, left}: {index, p, avg, sd, rejected, thinned, single}}, or null. */
  ES.reading = (row, prefix) => {
    const { rows, readings, details } = ES.data, spectrum = ES.spectrum(row, prefix);
    if (!spectrum) return null;
    const number = name => rows[prefix + name] ? rows[prefix + name][row] : NaN, count = name => number(name) || 0;
    const without = name => prefix === 'equalised_' && rows[name] ? rows[name][row] || 0 : 0;
    const m = rows.m[row] - without('zero_rows'), n = rows.n[row] - without('zero_columns');
    const rank = Number.isNaN(number('hard_rank')) ? spectrum.size : number('hard_rank');
    const known = spectrum.values.map((x, i) => i < rank ? x : 0);
    // where most of the spectrum is zero, what was fitted to the bulk was fitted to rounding
    let sigma = 2 * rank >= spectrum.size ? number('sigma') : NaN;
    if (!(sigma > 0)) sigma = Math.sqrt(known.reduce((sum, x) => sum + x * x, 0) / (m * n)) || 1;
    const unit = sigma * Math.sqrt(Math.max(m, n)), place = row * readings.length + readings.findIndex(r => r.prefix === prefix);
    const p = Object.fromEntries(SIDES.map(side => [side, {
      ...spectrum[side], sd: deviations(spectrum[side], side === 'right' ? n : m),
      // a table without counts of rejected vectors holds averages alone
      single: Boolean(rows[`${prefix}rejected_${side}`]),
      rejected: rows[`${prefix}rejected_${side}`] ? Array.from(spectrum[side].index).filter((_, k) => spectrum[side].rejected[k]) : [],
    }]));
    return {
      row, prefix, m, n, unit, size: spectrum.size, thinned: spectrum.thinned, values: known.map(x => x / unit), p,
      right: count('num_right_outliers'), left: count('num_left_outliers'), tested: !Number.isNaN(number('num_right_outliers')),
      thresholds: details ? [details.threshold[2 * place], details.threshold[2 * place + 1]] : [NaN, NaN],
    };
  };

  let offsets = null;

  /* The kept vectors of a matrix: [{side, index, d, p, counts, length}]; null where the run keeps none. */
  ES.keptVectors = row => {
    const kept = ES.data.details && ES.data.details.kept;
    if (!kept) return null;
    if (!offsets) { offsets = [0]; kept.count.forEach((count, i) => offsets.push(offsets[i] + count)); }
    const width = kept.bins + 2;
    return SIDES.flatMap((side, k) => {
      const from = offsets[2 * row + k], to = offsets[2 * row + k + 1];
      return Array.from({ length: to - from }, (_, i) => ({
        side, index: kept.index[from + i], d: kept.d[from + i], p: kept.p[from + i],
        counts: kept.counts.subarray((from + i) * width, (from + i + 1) * width),
        length: ES.data.rows[side === 'right' ? 'n' : 'm'][row],
      }));
    });
  };
})();
