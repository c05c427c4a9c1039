// Numbers as text, no longer than a table has room for.

const FULL = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const SMALL = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const ROUGH = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

export function amount(number) {
  return (number < 100 ? SMALL : number < 10_000 ? FULL : SHORT).format(number);
}

export function bytes(number) {
  let [value, unit] = [number, 0];
  while (value >= 999.5) [value, unit] = [value / 1000, unit + 1];
  return `${(value < 10 && unit > 0 ? SMALL : FULL).format(value)} ${UNITS[unit]}`;
}

export function seconds(number) {
  return number < 1 ? `${ROUGH.format(number * 1000)} ms` : `${ROUGH.format(number)} s`;
}

export function counted(number, noun) {
  return `${amount(number)} ${noun}${number === 1 ? "" : "s"}`;
}
