/* Ramps that every colour vision can order, light and dark: cividis for amounts, blue to orange for differences. */
(() => {
  const AMOUNT = ['#00224e', '#35456c', '#666970', '#948e77', '#c8b866', '#fee838'];
  const SIGNED = { light: ['#0b4f8a', '#5b9bd0', '#f1f1ee', '#e39a4a', '#8f4a00'], dark: ['#8fc7f5', '#3f78ab', '#2a2d30', '#a8662a', '#ffb15e'] };

  const channels = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

  const between = (stops, t) => {
    const place = Math.min(0.99999, Math.max(0, t)) * (stops.length - 1), i = Math.floor(place);
    const [a, b] = [channels(stops[i]), channels(stops[i + 1])];
    return `#${a.map((x, k) => Math.round(x + (b[k] - x) * (place - i)).toString(16).padStart(2, '0')).join('')}`;
  };

  ES.dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  };

  ES.color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  ES.amountColor = t => between(AMOUNT, t);

  ES.signedColor = t => between(SIGNED[ES.dark() ? 'dark' : 'light'], t);

  /* A ramp with the numbers at its ends. */
  ES.rampLegend = (low, high, color, name) => {
    const { svg } = ES, width = 240, bars = Array.from({ length: 32 }, (_, k) =>
      svg('rect', { x: 8 + k * (width - 16) / 32, y: 2, width: (width - 16) / 32 + 0.5, height: 10, fill: color((k + 0.5) / 32) }));
    return svg('svg', { width, height: 30, viewBox: `0 0 ${width} 30`, role: 'img', class: 'chart', 'aria-label': `Colours from ${ES.format(low)} to ${ES.format(high)}: ${name}` },
      bars, svg('text', { x: 8, y: 26 }, ES.format(low)), svg('text', { x: width - 8, y: 26, 'text-anchor': 'end' }, ES.format(high)));
  };
})();
