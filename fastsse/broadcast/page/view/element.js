// One way to make an element: always through text nodes and properties, so that no event can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name
 * @param {Record<string, unknown>} [attributes] `class`, `title`, `aria-label` ...; `onclick` and the like are listeners;
 *     `true` is an empty attribute, `false`, `null` and `undefined` are none
 * @param {...(Node | string | null | false)} children
 */
export function element(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

function dress(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== false));
  return node;
}
