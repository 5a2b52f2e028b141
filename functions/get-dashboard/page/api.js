// Returns the number of operations in the API's document.
export async function operations() {
  const response = await fetch('/v1/openapi.json');
  const document = await response.json();
  if (!response.ok) throw new Error(document.error.message);
  return Object.values(document.paths).reduce((sum, methods) => sum + Object.keys(methods).length, 0);
}
