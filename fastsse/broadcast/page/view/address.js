// The address bar is the state: `?topic=a&topic=b` names what the page follows, so a view can be shared or bookmarked.

/** The topics of the address, in order, once each. */
export function topicsOfAddress() {
  return [...new Set(new URLSearchParams(location.search).getAll("topic").filter(Boolean))];
}

export function putInAddress(topics) {
  const url = new URL(location.href);
  url.searchParams.delete("topic");
  for (const topic of topics) url.searchParams.append("topic", topic);
  if (url.href !== location.href) history.pushState(null, "", url);
}

export function onAddressChange(listener) {
  addEventListener("popstate", () => listener(topicsOfAddress()));
}
